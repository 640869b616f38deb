extern "C" int something_absent() { return 1; }
