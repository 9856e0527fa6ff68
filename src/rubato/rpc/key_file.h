// A private key in a file, PKCS #8 in PEM.
//
// Its secrecy: it is written through FileSystem::replace_private_file, so that its bytes only ever
// lie in files that were made with mode 0600, the temporary one included; and one that everybody on
// the machine may read is refused when it is loaded. The file's group is let in, since volumes of
// container systems give a group access to whatever lies on them.
#pragma once

#include <string>

#include "rubato/rpc/x509.h"
#include "rubato/store/file_system.h"

namespace rubato {

/// The key in the file; a new one of P-256 where there is no file. FailedPrecondition when
/// everybody may read it, DataLoss when it does not read.
StatusOr<PrivateKey> load_or_make_key(FileSystem& files, const std::string& path);

}  // namespace rubato
