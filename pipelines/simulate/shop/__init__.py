"""A shop of any size whose visitors behave as REES46's did: users by blocks, each block from its own seed."""
