"""Any data set of the user: images and the masks of every rater, in folders or by a table."""
