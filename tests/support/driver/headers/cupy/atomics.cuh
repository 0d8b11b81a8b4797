// In place of CuPy's own header, which needs CUDA: minigan.gpu.emulator refuses kernels that use atomics.
