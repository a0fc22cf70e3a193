"""Does the kernels' tuner search, compile and write as it says?"""
