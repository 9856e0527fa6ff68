#include "rubato/rpc/codec_agreement.h"

#include <algorithm>
#include <string>

#include "rubato/rpc/wire.h"

namespace rubato {
namespace {

constexpr char kVerbatim[] = "fp32";

v1::Codec to_proto(const Choice& choice) {
  v1::Codec message;
  message.set_name(choice.name);
  for (const auto& [name, value] : choice.options) {
    if (const auto* real = std::get_if<double>(&value)) (*message.mutable_options())[name] = *real;
    if (const auto* integer = std::get_if<int64_t>(&value))
      (*message.mutable_options())[name] = static_cast<double>(*integer);
  }
  return message;
}

StatusOr<NamedCodec> with_defaults(std::string_view name) {
  NamedCodec made;
  made.name.set_name(std::string(name));
  RUBATO_ASSIGN_OR_RETURN(made.codec, codec_from_proto(made.name));
  return made;
}

bool can(std::string_view codec, const auto& listed) {
  return codec == kVerbatim || std::ranges::find(listed, codec) != listed.end();
}

Status insists_on(std::string_view list, int listed, std::string_view codec) {
  return absl::FailedPreconditionError(
      cat("[hello] ", list, ": got ", listed, " others, want ", codec,
          ", the recipe's: on the virtual clock the bits are the simulator's"));
}

}  // namespace

StatusOr<CodecAgreement> CodecAgreement::make(const MachineConfig& config, bool insists) {
  CodecAgreement agreement;
  RUBATO_ASSIGN_OR_RETURN(Codecs codecs, make_codecs(config));
  agreement.preferred_ = {{to_proto(config.up_codec), std::move(codecs.up)},
                          {to_proto(config.down_codec), std::move(codecs.down)}};
  RUBATO_ASSIGN_OR_RETURN(agreement.verbatim_, with_defaults(kVerbatim));
  agreement.insists_ = insists;
  return agreement;
}

StatusOr<SessionCodecs> CodecAgreement::agree(const v1::Hello& hello) const {
  SessionCodecs agreed = preferred_;
  const std::string &up = preferred_.up.name.name(), &down = preferred_.down.name.name();
  if (!can(up, hello.up_codecs())) {
    if (insists_) return insists_on("up_codecs", hello.up_codecs_size(), up);
    const auto* best = std::ranges::find_if(
        kUpSubstitutes, [&](std::string_view name) { return can(name, hello.up_codecs()); });
    RUBATO_ASSIGN_OR_RETURN(agreed.up, with_defaults(*best));
  }
  if (!can(down, hello.down_codecs())) {
    if (insists_) return insists_on("down_codecs", hello.down_codecs_size(), down);
    agreed.down = verbatim_;
  }
  return agreed;
}

StatusOr<std::shared_ptr<const Codec>> CodecAgreement::find_down(const v1::Codec& name) const {
  for (const NamedCodec* codec : {&preferred_.down, &verbatim_}) {
    if (name.name() == codec->name.name()) return codec->codec;
  }
  RUBATO_RETURN_IF_ERROR(check_text("fetch", "codec", name.name()));
  const std::string& own = preferred_.down.name.name();
  return absl::InvalidArgumentError(cat("[fetch] codec: got ", name.name(), ", want ", own,
                                        own == kVerbatim ? "" : cat(" or ", kVerbatim)));
}

}  // namespace rubato
