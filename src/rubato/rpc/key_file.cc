#include "rubato/rpc/key_file.h"

namespace rubato {
namespace {

StatusOr<PrivateKey> load_key(FileSystem& files, const std::string& path) {
  RUBATO_ASSIGN_OR_RETURN(const FileAccess access, files.file_access(path));
  if (access == FileAccess::kEveryone)
    return absl::FailedPreconditionError(
        cat("[key] ", path, ": got a private key that everybody on this machine may read, want it ",
            "private; chmod 600 ", path, ", and docs/operating.md if somebody may have read it"));
  RUBATO_ASSIGN_OR_RETURN(const std::string pem, files.read_file(path));
  auto key = PrivateKey::parse(path, pem);
  return key.ok() ? key : absl::DataLossError(key.status().message());
}

}  // namespace

StatusOr<PrivateKey> load_or_make_key(FileSystem& files, const std::string& path) {
  if (files.exists(path)) return load_key(files, path);
  RUBATO_ASSIGN_OR_RETURN(PrivateKey key, PrivateKey::make());
  RUBATO_ASSIGN_OR_RETURN(const Secret pem, key.pem());
  RUBATO_RETURN_IF_ERROR(files.replace_private_file(path, pem.reveal()));
  return key;
}

}  // namespace rubato
