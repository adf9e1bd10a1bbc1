"""How kernels run: registered (registry.py), compiled (build.py), kept (cache.py), on one pool of threads (pool.py), with
matrix products inside (blas.py). What they compute stands in the folder above."""
