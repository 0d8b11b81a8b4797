"""study.html: the algorithm, the game and the operations as one page that needs no network."""
