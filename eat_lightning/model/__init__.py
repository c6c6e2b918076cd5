"""The adaptive encoder, the contracts of its methods, and the trace of a pass.

1. A `Batch` holds token ids packed end to end. `AdaptiveEncoder.start` turns it into a `Packed` of
   vectors, whose `Layout` knows which row belongs to which example.
2. `AdaptiveEncoder.run` loops over the layers. A layer's attention may leave `Evidence`, by which
   the reduction drops rows within the layer or after it.
3. At a layer with a head, the `TraceRecorder` notes its logits and the exit rule's signals. The
   rule decides on those of all exits so far, and policies may hold an example back.
4. Examples that leave are removed from the packed rows, and their depth, reason and answer noted.
5. At the last layer all examples leave, and `TraceRecorder.end` returns the `Trace`.

How to write a method is in `contracts`. How a method declares its arguments is in `method`, and how
it is named, checked, built and saved in `specification`. `flops` counts the work of a pass.
"""
