"""A page over an index: an image goes in, its neighbours and what each learner says come out."""
