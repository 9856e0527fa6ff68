// Denormal floats cost up to a hundred times a normal one and bring no accuracy worth having, so
// every thread that touches the model's floats flushes them: FTZ for results, DAZ for operands.
#pragma once

namespace rubato {

/// Sets FTZ and DAZ in the calling thread. Called first in every thread that touches floats;
/// idempotent.
void flush_denormals();

/// Whether the calling thread flushes denormals.
bool denormals_are_flushed();

}  // namespace rubato
