// The project's own text for tests of this room, from tests/data/text.
#pragma once

#include <string>
#include <vector>

namespace rubato {

/// The directory that holds it; three files.
std::string sample_directory();
/// One string a file, in the order of names.
const std::vector<std::string>& sample_passages();

}  // namespace rubato
