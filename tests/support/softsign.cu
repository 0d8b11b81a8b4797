// y = x / (1 + |x|). 4 in, 4 out.
extern "C" __global__ void softsign(const float* __restrict__ x /* size */, float* __restrict__ y /* size */,
        int size) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < size) y[i] = x[i] / (1 + fabsf(x[i]));
}

// dx = dy / (1 + |x|)^2. 8 in, 4 out.
extern "C" __global__ void softsign_backward(const float* __restrict__ dy /* size */,
        const float* __restrict__ x /* size */, float* __restrict__ dx /* size */, int size) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= size) return;
    float root = 1 + fabsf(x[i]);
    dx[i] = dy[i] / (root * root);
}
