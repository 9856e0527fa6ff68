#include "rubato/rpc/join_string.h"

#include <algorithm>
#include <array>
#include <cstdint>
#include <istream>

#include "rubato/rpc/crypto.h"

namespace rubato {
namespace {

constexpr std::string_view kFormat = "rubato1";
constexpr size_t kMostAddresses = 8;
constexpr size_t kLongest = 4096;
constexpr size_t kFingerprintDigits = 64;
constexpr size_t kCheckDigits = 8;
constexpr std::string_view kShape = "rubato1/HOST:PORT/FINGERPRINT/SECRET/CHECK";

Status refused(std::string_view got, std::string_view want) {
  return absl::InvalidArgumentError(cat("[join] got ", got, ", want ", want));
}

/// CRC-32 of IEEE 802.3, bit by bit: the words are short.
std::string check_of(std::string_view text) {
  uint32_t crc = 0xffffffff;
  for (const char c : text) {
    crc ^= static_cast<unsigned char>(c);
    for (int bit = 0; bit < 8; ++bit) crc = crc >> 1 ^ ((crc & 1) != 0 ? 0xedb88320 : 0);
  }
  crc = ~crc;
  const std::array<char, 4> bytes = {static_cast<char>(crc >> 24), static_cast<char>(crc >> 16),
                                     static_cast<char>(crc >> 8), static_cast<char>(crc)};
  return to_hex({bytes.data(), bytes.size()});
}

std::vector<std::string_view> split(std::string_view text, char separator) {
  std::vector<std::string_view> parts;
  for (size_t end; (end = text.find(separator)) != text.npos; text.remove_prefix(end + 1))
    parts.push_back(text.substr(0, end));
  parts.push_back(text);
  return parts;
}

std::string_view trimmed(std::string_view text) {
  constexpr std::string_view kSpaces = " \t\r\n";
  const size_t begin = text.find_first_not_of(kSpaces);
  if (begin == std::string_view::npos) return {};
  return text.substr(begin, text.find_last_not_of(kSpaces) - begin + 1);
}

/// The address as it stands in a join string: no brackets.
std::string bare(const Address& address) { return cat(address.host, ":", address.port); }

StatusOr<std::vector<Address>> parse_addresses(std::string_view text) {
  const std::vector<std::string_view> parts = split(text, ',');
  if (parts.size() > kMostAddresses)
    return refused(cat(parts.size(), " addresses"), cat("at most ", kMostAddresses));
  std::vector<Address> addresses;
  for (const std::string_view part : parts) {
    const size_t colon = std::min(part.rfind(':'), part.size());
    const std::string_view host = part.substr(0, colon);
    const bool brackets = host.find(':') != std::string_view::npos;
    const auto address =
        parse_address(brackets ? cat("[", host, "]", part.substr(colon)) : std::string(part));
    if (!address.ok() || bare(*address) != part)
      return refused(cat("an address ", addresses.size() + 1, " that is none"),
                     "HOST:PORT in lower case");
    addresses.push_back(*address);
  }
  return addresses;
}

/// OK when the version is ours; names another one, which is no secret.
Status check_format(std::string_view word) {
  if (word == kFormat) return absl::OkStatus();
  const bool other_version = word.size() <= 12 && word.starts_with("rubato") &&
                             word.find_first_not_of("0123456789", 6) == std::string_view::npos;
  return refused(other_version ? cat("a join string of format ", word)
                               : "text that does not begin with rubato1/",
                 other_version ? cat(kFormat, "; use the coordinator's version of this program")
                               : cat("a join string as `rubato invite` prints it"));
}

}  // namespace

StatusOr<std::string> JoinString::text() const {
  std::vector<std::string> words;
  for (const Address& address : addresses) words.push_back(bare(address));
  const std::string body =
      cat(kFormat, "/", join(words, ","), "/", fingerprint, "/", secret.reveal(), "/");
  const std::string text = cat(body, check_of(body));
  RUBATO_RETURN_IF_ERROR(parse_join_string(text).status());
  return text;
}

std::string JoinString::redacted() const {
  std::vector<std::string> words;
  for (const Address& address : addresses) words.push_back(to_text(address));
  return cat(kFormat, "/", join(words, ","), "/", fingerprint.substr(0, 16), "../***");
}

StatusOr<JoinString> parse_join_string(std::string_view text) {
  text = trimmed(text);
  if (text.empty()) return refused("an empty join string", kShape);
  if (text.size() > kLongest)
    return refused(cat("a join string of ", text.size(), " characters"), cat("at most ", kLongest));
  const std::vector<std::string_view> parts = split(text, '/');
  RUBATO_RETURN_IF_ERROR(check_format(parts[0]));
  if (parts.size() != 5)
    return refused(cat("a join string of ", parts.size(), " parts"),
                   cat("5, ", kShape, "; it was cut off or changed"));
  if (!is_hex(parts[4], kCheckDigits))
    return refused("a join string without its 8 check digits at the end",
                   cat(kShape, "; it was cut off or changed"));
  if (check_of(text.substr(0, text.size() - kCheckDigits)) != parts[4])
    return refused("a join string that does not match its check digits",
                   "it as `rubato invite` printed it; a character was changed or lost");

  JoinString join;
  RUBATO_ASSIGN_OR_RETURN(join.addresses, parse_addresses(parts[1]));
  if (!is_hex(parts[2], kFingerprintDigits))
    return refused("a fingerprint that is none", "64 hexadecimal digits in lower case");
  join.fingerprint = std::string(parts[2]);
  if (!is_join_secret(parts[3])) return refused("a secret that is none", "32 characters a-z2-7");
  join.secret = Secret(std::string(parts[3]));
  return join;
}

StatusOr<JoinFile> read_join_file(FileSystem& files, const std::string& path) {
  RUBATO_ASSIGN_OR_RETURN(const FileAccess access, files.file_access(path));
  // A line end may follow; what is longer than that is refused as too long.
  RUBATO_ASSIGN_OR_RETURN(const std::string text, files.read_range(path, 0, kLongest + 2));
  auto join = parse_join_string(text);
  if (!join.ok()) return annotate(join.status(), path);
  JoinFile file{*std::move(join), absl::OkStatus()};
  if (access != FileAccess::kOwner) {
    file.warning = absl::FailedPreconditionError(
        cat("[join] ", path, ": got a file that others may read, want its secret kept; chmod 600 ",
            path));
  }
  return file;
}

StatusOr<JoinString> read_join_line(std::istream& in) {
  std::string text;
  for (char c = 0; text.size() <= kLongest && in.get(c) && c != '\n';) text.push_back(c);
  return parse_join_string(text);
}

}  // namespace rubato
