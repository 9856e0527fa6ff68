#include "rubato/rpc/pem.h"

#include <memory>

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/pem.h>

#include "rubato/rpc/crypto.h"

namespace rubato {
namespace {

constexpr size_t kLongest = 64 * 1024;
constexpr size_t kLongestBundle = 1 << 20;
constexpr std::string_view kSpaces = " \t\r\n";

using Bio = std::unique_ptr<BIO, decltype(&BIO_free_all)>;

/// What PEM_read_bio allocates.
struct Block {
  char* name = nullptr;
  char* header = nullptr;
  unsigned char* data = nullptr;
  long size = 0;
  ~Block() {
    OPENSSL_free(name);
    OPENSSL_free(header);
    OPENSSL_free(data);
  }
};

/// What the BIO's memory still holds.
std::string_view rest_of(const Bio& bio) {
  char* data = nullptr;
  const long size = BIO_get_mem_data(bio.get(), &data);
  return size > 0 ? std::string_view(data, static_cast<size_t>(size)) : std::string_view();
}

}  // namespace

StatusOr<std::string> pem_to_der(std::string_view who, std::string_view label,
                                 std::string_view pem) {
  const auto refused = [&](std::string_view got) {
    return absl::InvalidArgumentError(
        cat("[x509] ", who, ": got ", got, ", want one PEM block ", label));
  };
  if (pem.size() > kLongest) return refused(cat(pem.size(), " bytes"));
  const size_t begin = pem.find_first_not_of(kSpaces);
  if (begin == std::string_view::npos) return refused("nothing");
  pem.remove_prefix(begin);
  if (!pem.starts_with("-----BEGIN ")) return refused("text that begins otherwise");
  const Bio bio(BIO_new_mem_buf(pem.data(), static_cast<int>(pem.size())), BIO_free_all);
  Block block;
  if (PEM_read_bio(bio.get(), &block.name, &block.header, &block.data, &block.size) != 1)
    return refused(cat("text that does not read (", take_openssl_error(), ")"));
  if (block.name != label) return refused("a block of another kind");
  if (*block.header != '\0') return refused("an encrypted block");
  if (rest_of(bio).find_first_not_of(kSpaces) != std::string_view::npos)
    return refused("more text behind the block");
  return std::string(reinterpret_cast<const char*>(block.data), static_cast<size_t>(block.size));
}

StatusOr<std::vector<PemBlock>> pem_blocks(std::string_view who, std::string_view text) {
  const auto refused = [&](std::string_view got) {
    return absl::InvalidArgumentError(cat("[x509] ", who, ": got ", got, ", want PEM blocks"));
  };
  if (text.size() > kLongestBundle) return refused(cat(text.size(), " bytes"));
  const Bio bio(BIO_new_mem_buf(text.data(), static_cast<int>(text.size())), BIO_free_all);
  std::vector<PemBlock> blocks;
  for (;;) {
    Block block;
    if (PEM_read_bio(bio.get(), &block.name, &block.header, &block.data, &block.size) != 1) {
      const bool is_end = ERR_GET_REASON(ERR_peek_last_error()) == PEM_R_NO_START_LINE;
      const std::string error = take_openssl_error();
      if (!is_end) return refused(cat("text that does not read (", error, ")"));
      if (blocks.empty()) return refused("none");
      return blocks;
    }
    blocks.push_back(
        {block.name,
         std::string(reinterpret_cast<const char*>(block.data), static_cast<size_t>(block.size)),
         *block.header != '\0'});
  }
}

std::string der_to_pem(std::string_view label, std::string_view der) {
  const Bio bio(BIO_new(BIO_s_mem()), BIO_free_all);
  const int written = PEM_write_bio(bio.get(), std::string(label).c_str(), "",
                                    reinterpret_cast<const unsigned char*>(der.data()),
                                    static_cast<long>(der.size()));
  RUBATO_CHECK(written > 0, "PEM in memory: ", take_openssl_error());
  return std::string(rest_of(bio));
}

}  // namespace rubato
