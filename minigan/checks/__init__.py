"""Is a hand-written derivative, or a whole layer, correct?"""
