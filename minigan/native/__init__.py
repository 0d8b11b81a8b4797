"""The kernels of kernels.cu on a CPU: faster than NumPy's passes, with the same bits."""
