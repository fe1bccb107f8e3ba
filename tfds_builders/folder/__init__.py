"""Any data set of the user: a folder of images and one folder of masks for every rater."""
