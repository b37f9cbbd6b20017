import { testAgreement } from '../tensorflow/agreement.js';

testAgreement('webgpu');
