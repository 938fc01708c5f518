"""Keys of sealed data: which epochs and data keys there are, and what is done with them.

How a process uses keys is in `crm_server.kernel.keys`; here is what people and machines do to them: rotate, hold,
erase, destroy, keep in escrow.
"""
