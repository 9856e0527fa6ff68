#include "tests/text/sample_text.h"

#include <fstream>
#include <sstream>

namespace rubato {

std::string sample_directory() { return RUBATO_SOURCE_DIR "/tests/data/text"; }

const std::vector<std::string>& sample_passages() {
  static const std::vector<std::string> passages = [] {
    std::vector<std::string> texts;
    for (const char* name : {"ensemble.txt", "glossary.txt", "letters.txt"}) {
      std::stringstream text;
      text << std::ifstream(sample_directory() + "/" + name).rdbuf();
      texts.push_back(text.str());
    }
    return texts;
  }();
  return passages;
}

}  // namespace rubato
