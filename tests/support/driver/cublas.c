// Stands in for cuBLAS: what CuPy needs for products of float32 and float64. build.py adds all other functions that
// CuPy could call; they fail with CUBLAS_STATUS_NOT_SUPPORTED.
//
// Matrices lie column by column; op(A) is A, or its transpose if the flag is not 0.

enum { OK = 0, NOT_SUPPORTED = 15, FLOAT = 0, DOUBLE = 1 };

long cublas_calls;
int cublas_executes = 1;

int cublasCreate_v2(void** handle) { *handle = (void*)1; return OK; }
int cublasDestroy_v2(void* handle) { return OK; }
static void* present;
int cublasSetStream_v2(void* handle, void* stream) { present = stream; return OK; }
int cublasGetStream_v2(void* handle, void** stream) { *stream = present; return OK; }
static int math, pointers;
int cublasSetMathMode(void* handle, int mode) { math = mode; return OK; }
int cublasGetMathMode(void* handle, int* mode) { *mode = math; return OK; }
int cublasSetPointerMode_v2(void* handle, int mode) { pointers = mode; return OK; }
int cublasGetPointerMode_v2(void* handle, int* mode) { *mode = pointers; return OK; }
int cublasGetVersion_v2(void* handle, int* version) { *version = 120900; return OK; }

// SciPy's BLAS, which takes pointers to everything; install.py puts its functions here.
void (*blas_sgemm)(char* ta, char* tb, int* m, int* n, int* k, const float* alpha, const float* A, int* lda,
                   const float* B, int* ldb, const float* beta, float* C, int* ldc);
void (*blas_dgemm)(char* ta, char* tb, int* m, int* n, int* k, const double* alpha, const double* A, int* lda,
                   const double* B, int* ldb, const double* beta, double* C, int* ldc);
void (*blas_sgemv)(char* ta, int* m, int* n, const float* alpha, const float* A, int* lda, const float* x, int* dx,
                   const float* beta, float* y, int* dy);
void (*blas_dgemv)(char* ta, int* m, int* n, const double* alpha, const double* A, int* lda, const double* x, int* dx,
                   const double* beta, double* y, int* dy);
float (*blas_sdot)(int* n, const float* x, int* dx, const float* y, int* dy);
double (*blas_ddot)(int* n, const double* x, int* dx, const double* y, int* dy);

// C = alpha op(A) op(B) + beta C, of m rows and n columns, over the depth k.
int cublasGemmEx(void* handle, int ta, int tb, int m, int n, int k, const void* alpha, const void* A, int type_A,
                 int lda, const void* B, int type_B, int ldb, const void* beta, void* C, int type_C, int ldc,
                 int compute, int algorithm) {
    ++cublas_calls;
    if (!cublas_executes) return OK;
    if (type_A != type_B || type_A != type_C || type_A > DOUBLE) return NOT_SUPPORTED;
    if (type_A == FLOAT) blas_sgemm(&"nt"[ta], &"nt"[tb], &m, &n, &k, alpha, A, &lda, B, &ldb, beta, C, &ldc);
    else blas_dgemm(&"nt"[ta], &"nt"[tb], &m, &n, &k, alpha, A, &lda, B, &ldb, beta, C, &ldc);
    return OK;
}

int cublasSgemm_v2(void* handle, int ta, int tb, int m, int n, int k, const float* alpha, const float* A, int lda,
                   const float* B, int ldb, const float* beta, float* C, int ldc) {
    return cublasGemmEx(handle, ta, tb, m, n, k, alpha, A, FLOAT, lda, B, FLOAT, ldb, beta, C, FLOAT, ldc, 0, 0);
}

int cublasDgemm_v2(void* handle, int ta, int tb, int m, int n, int k, const double* alpha, const double* A, int lda,
                   const double* B, int ldb, const double* beta, double* C, int ldc) {
    return cublasGemmEx(handle, ta, tb, m, n, k, alpha, A, DOUBLE, lda, B, DOUBLE, ldb, beta, C, DOUBLE, ldc, 0, 0);
}

// y = alpha op(A) x + beta y, for A of m rows and n columns.
int cublasSgemv_v2(void* handle, int ta, int m, int n, const float* alpha, const float* A, int lda, const float* x,
                   int dx, const float* beta, float* y, int dy) {
    ++cublas_calls;
    if (!cublas_executes) return OK;
    blas_sgemv(&"nt"[ta], &m, &n, alpha, A, &lda, x, &dx, beta, y, &dy);
    return OK;
}

int cublasDgemv_v2(void* handle, int ta, int m, int n, const double* alpha, const double* A, int lda, const double* x,
                   int dx, const double* beta, double* y, int dy) {
    ++cublas_calls;
    if (!cublas_executes) return OK;
    blas_dgemv(&"nt"[ta], &m, &n, alpha, A, &lda, x, &dx, beta, y, &dy);
    return OK;
}

int cublasSdot_v2(void* handle, int n, const float* x, int dx, const float* y, int dy, float* sum) {
    ++cublas_calls;
    if (!cublas_executes) return OK;
    *sum = blas_sdot(&n, x, &dx, y, &dy);
    return OK;
}

int cublasDdot_v2(void* handle, int n, const double* x, int dx, const double* y, int dy, double* sum) {
    ++cublas_calls;
    if (!cublas_executes) return OK;
    *sum = blas_ddot(&n, x, &dx, y, &dy);
    return OK;
}
