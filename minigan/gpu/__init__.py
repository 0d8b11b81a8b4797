"""The GPU: kernels, the code that launches and checks them, and layers that run as one."""
