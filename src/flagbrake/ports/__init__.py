"""What others implement. One abstract method where possible; the rest has a default that raises Unsupported."""
