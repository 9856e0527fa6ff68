// The one word that makes a worker: where the coordinator is, whom to trust, and a secret that
// opens the door once.
//
//   rubato1/HOST:PORT[,HOST:PORT..]/FINGERPRINT/SECRET/CHECK
//
// FINGERPRINT is the SHA-256 of the authority's certificate in 64 hexadecimal digits, SECRET is of
// crypto.h, CHECK is the CRC-32 of all that stands before it: it finds every change of up to 32
// bits in a row, so any wrong or swapped character. IPv6 stands without brackets, which some shells
// would take for a pattern; the port is what follows the last colon. One spelling only, all of it
// lower case. The grammar is in docs/formats.md, "Join strings".
//
// Errors never quote the string: whatever is wrong with it may still hold the secret.
#pragma once

#include <iosfwd>
#include <string>
#include <string_view>
#include <vector>

#include "rubato/base/address.h"
#include "rubato/base/status.h"
#include "rubato/rpc/secret.h"
#include "rubato/store/file_system.h"

namespace rubato {

struct JoinString {
  std::vector<Address> addresses;  // 1 .. 8, to be tried in order
  std::string fingerprint;
  Secret secret;

  /// The word itself. InvalidArgument when a part is none.
  StatusOr<std::string> text() const;
  /// For logs and status: the addresses and the first 16 digits of the fingerprint.
  std::string redacted() const;
};

/// Spaces and line ends around the word are passed over. InvalidArgument in one line that says what
/// is wrong.
StatusOr<JoinString> parse_join_string(std::string_view text);

struct JoinFile {
  JoinString join;
  /// Not OK when others than the owner may read the file; for the caller to show.
  Status warning;
};

/// A file of one join string, which keeps it out of lists of processes. Errors name the file.
StatusOr<JoinFile> read_join_file(FileSystem& files, const std::string& path);
/// The first line of a stream. Errors as parse_join_string.
StatusOr<JoinString> read_join_line(std::istream& in);

}  // namespace rubato
