"""`python -m portrait_tf.cli`."""

from portrait_tf.cli import main

if __name__ == "__main__":
    main()
