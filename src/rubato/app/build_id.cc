#include "rubato/app/build_id.h"

#include <fstream>
#include <vector>

#include "rubato/base/digest.h"

namespace rubato {
namespace {

constexpr const char* kVersion = RUBATO_VERSION;  // of CMakeLists.txt
constexpr size_t kDigits = 12;

}  // namespace

std::string build_id() {
  std::ifstream program("/proc/self/exe", std::ios::binary);
  Digester digester;
  std::vector<char> piece(1 << 20);
  while (program.read(piece.data(), static_cast<std::streamsize>(piece.size())) ||
         program.gcount() > 0) {
    digester.update({piece.data(), static_cast<size_t>(program.gcount())});
  }
  return std::string(kVersion) + "-" + digester.hex().substr(0, kDigits);
}

}  // namespace rubato
