import { testAgreement } from './agreement.js';

testAgreement('tensorflow');
