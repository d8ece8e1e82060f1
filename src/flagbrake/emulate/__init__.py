"""Local servers that speak a vendor's protocol: what every emulator is made of."""
