"""Any images of one modality: CIFAR, ISIC 2019, or a folder for each class; balanced or long-tailed."""
