# Models of the protocol, searched by spin.
.PHONY: check-model
check-model: deps ## spin models of the protocol, good and broken (test/model/README.md)
	@tools/check_model.sh build/model
