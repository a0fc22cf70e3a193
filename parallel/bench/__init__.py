"""How fast is one layout of ranks, measured on the machine at hand? (`python -m parallel bench`)"""
