"""Where the arrays of torchvision's ResNets go."""
