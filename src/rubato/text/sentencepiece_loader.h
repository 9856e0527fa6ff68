// Brings sentencepiece into the process without its protobuf.
//
// Debian's libsentencepiece exports the 1600 symbols of a protobuf 3.14 that it carries along.
// Beside the protobuf 3.21 of gRPC the dynamic linker would give every caller whichever stands
// first: linked together the program ends before main, and loaded later sentencepiece aborts at
// its first message. So a module of ours holds what uses sentencepiece, and is loaded such that it
// looks up names in its own libraries first (RTLD_DEEPBIND) and offers none (RTLD_LOCAL).
// tests/text/sentencepiece_isolation_test.cc holds that.
#pragma once

#include <string>

#include "rubato/base/status.h"
#include "rubato/text/sentencepiece_library.h"

namespace rubato {

/// The library, loaded by the first call; never unloaded. FailedPrecondition when the module is
/// missing. Safe from several threads.
StatusOr<const SentencepieceLibrary*> sentencepiece_library();

/// From the module `file`: a path, or a name to be found where the program's run path says.
StatusOr<const SentencepieceLibrary*> load_sentencepiece(const std::string& file);

}  // namespace rubato
