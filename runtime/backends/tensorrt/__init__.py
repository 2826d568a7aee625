"""TensorRT in all its flavours: engines that are built, checked, kept and loaded, never trusted blindly."""
