"""What a GPU needs: kernels, what launches and checks them, and layers run as one."""
