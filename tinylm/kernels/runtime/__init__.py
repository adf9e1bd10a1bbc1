"""How kernels run; the kernels themselves stand in the folder above.

registry.py registers them, build.py and compiler.py compile them, cache.py keeps the results,
pool.py runs everything on one pool of threads, blas.py multiplies matrices inside kernels.
"""
