"""Local servers that speak a vendor's protocol: what every emulator is made of.

``server`` serves on loopback in a thread, ``sse`` holds streams, ``faults`` breaks what is asked to be broken,
``control`` offers both over HTTP under ``/_emulator``, ``document`` keeps the state in a file. Needs the extra
``emulator`` (starlette, uvicorn); nothing here is imported before an emulator is made.
"""
