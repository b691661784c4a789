"""From trained networks to a versioned SavedModel that TensorFlow Serving runs."""
