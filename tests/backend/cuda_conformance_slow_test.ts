/** The contract's conformance tests on the CUDA backend. */
import { openCuda } from "../../src/backend/cuda/open.ts";
import { testDevice } from "../support/cuda_device.ts";
import { conformance } from "./conformance.ts";

conformance("cuda", () => openCuda({ device: testDevice }), { tolerance: 2e-5 });
