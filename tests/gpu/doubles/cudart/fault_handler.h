#pragma once

namespace cudart {

/// From here on a fault in device memory, or in page-locked memory, ends the program with a message that says who touched what.
/// Other faults go where they went before.
void handle_faults();

}  // namespace cudart
