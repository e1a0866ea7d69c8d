"""What lies on disk: the journal and the snapshots of a map, sealed by its device.

Nothing here holds a key, or opens a record. :class:`host.data.folder.DataFolder` is the whole of it for others.
"""
