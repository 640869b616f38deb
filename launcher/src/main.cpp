#include "command/commands.h"

int main(int argc, char** argv) { return minim::command::run({argv + 1, argv + argc}); }
