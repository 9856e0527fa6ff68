# Read by ctest behind the lists of discovered tests.
set_tests_properties(rpc.PacedLink.HeartbeatsStayQuickAndTheLinkFull PROPERTIES RUN_SERIAL ON)
