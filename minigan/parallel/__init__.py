"""One run on several processes: they share each minibatch, and together they are one process, number for number."""
