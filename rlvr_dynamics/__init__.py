"""How predictable are the weights of a language model under RLVR?"""
