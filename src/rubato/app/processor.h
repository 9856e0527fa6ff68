// What machine this is, for records: bits are promised for one type of processor.
#pragma once

#include <string>

namespace rubato {

/// The processor's name and how many of its threads there are, as the system has them: `Xeon
/// Processor, 2 threads`.
std::string processor_name();

}  // namespace rubato
