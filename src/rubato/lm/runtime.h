// What a program does once, before it makes its first engine.
#pragma once

namespace rubato {

/// Keeps freed memory for reuse instead of giving it back to the system after every GEMM: oneDNN
/// takes and returns its packing buffers on each call, and fresh pages cost more than the packing.
/// Process-wide; also flushes denormals in the calling thread. Called at the start of main().
void prepare_process();

}  // namespace rubato
