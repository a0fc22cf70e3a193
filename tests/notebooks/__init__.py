"""Do the notebooks run, and are they as they should be?"""
