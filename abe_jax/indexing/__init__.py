"""An index of images: the network it is made with, its vectors on disk, and search in it."""
