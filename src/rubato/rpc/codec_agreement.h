// How one worker's deltas and parameters travel. The recipe names the codecs of the run; a worker
// that cannot use one is given the best substitute that both ends know, and is told in its welcome.
//   up:   the recipe's, else the first of bf16, int8, int4 that the worker lists, else fp32
//   down: the recipe's, else fp32, which carries the published floats as they are
// fp32 needs no listing: every worker can write floats. A substitute has its default options. top_k
// is none: what it leaves out of a delta only the recipe may decide.
#pragma once

#include <memory>
#include <string_view>

#include "rubato/codec/codec.h"
#include "rubato/server/machine.h"
#include "rubato/v1/control.pb.h"

namespace rubato {

/// A codec as the protocol names it, and itself.
struct NamedCodec {
  v1::Codec name;
  std::shared_ptr<const Codec> codec;
};

/// What was agreed with one worker.
struct SessionCodecs {
  NamedCodec up, down;
};

/// In the order of preference, behind the recipe's own; proto/rubato/v1/control.proto tells it.
inline constexpr std::string_view kUpSubstitutes[] = {"bf16", "int8", "int4", "fp32"};

/// Immutable: any thread.
class CodecAgreement {
 public:
  /// `insists`: nobody gets a substitute. Errors as make_codecs().
  static StatusOr<CodecAgreement> make(const MachineConfig& config, bool insists);

  /// For a worker that lists these. FailedPrecondition `[hello] ..` where the run insists on a
  /// codec that is missing.
  StatusOr<SessionCodecs> agree(const v1::Hello& hello) const;
  /// The recipe's.
  const SessionCodecs& preferred() const { return preferred_; }
  /// The one by which any worker may ask for parameters: the recipe's or fp32, which give the same
  /// floats. InvalidArgument `[fetch] codec: ..` for another.
  StatusOr<std::shared_ptr<const Codec>> find_down(const v1::Codec& name) const;

 private:
  CodecAgreement() = default;

  SessionCodecs preferred_;
  NamedCodec verbatim_;  // fp32
  bool insists_ = false;
};

}  // namespace rubato
